title: A failure is not tried again at once
why: RFC 9520 section 3.2 (MUST cache resolution failures): retries of clients must not become a storm upstream.

world usual
zone example.test signed
  www A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test

---
server ns1.example.test dies
ask www.example.test A
expect SERVFAIL
expect at least 1 queries
ask www.example.test A
expect SERVFAIL
expect at most 1 queries
expect within 1s
