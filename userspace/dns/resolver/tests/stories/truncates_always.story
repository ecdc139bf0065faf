title: A server that always truncates over UDP
why: RFC 7766 section 5: some defend themselves this way against forged sources.

world usual
zone example.test signed
  www A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test
  truncate_always

---
ask www.example.test A
expect NOERROR secure
expect at most 24 queries
