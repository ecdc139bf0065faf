title: Two aliases in a circle through two zones
why: Each zone alone is right (RFC 1034 section 5.2.2).

world usual
zone one.test
  a CNAME b.two.test.
zone two.test
  b CNAME a.one.test.
server ns.one.test 10.0.1.1 serves one.test
server ns.two.test 10.0.1.2 serves two.test

---
ask a.one.test A
expect SERVFAIL
expect at most 24 queries
