title: An alias of itself
why: RFC 1034 section 5.2.2.

world usual
zone one.test
  a CNAME a
server ns.one.test 10.0.1.1 serves one.test

---
ask a.one.test A
expect SERVFAIL
expect at most 16 queries
