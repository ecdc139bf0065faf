title: Two aliases in a circle
why: RFC 1034 section 5.2.2: a loop is an error, and is found before it costs anything.

world usual
zone example.test signed
  a CNAME b
  b CNAME c
  c CNAME a
server ns1.example.test 10.0.1.1 serves example.test

---
ask a.example.test A
expect SERVFAIL
expect at most 24 queries
expect within 1s
