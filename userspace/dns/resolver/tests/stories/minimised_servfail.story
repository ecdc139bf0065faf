title: A server fails for parts of names and answers for the whole
why: RFC 9156 section 2.3: minimisation must not make what worked fail.

world usual
zone example.test
  www.deep.ent A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test
  servfail for ent.example.test
  servfail for deep.ent.example.test

---
ask www.deep.ent.example.test A
expect NOERROR insecure
expect at most 24 queries
