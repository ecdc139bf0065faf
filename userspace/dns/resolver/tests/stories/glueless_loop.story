title: Two zones whose servers are named in each other, without glue
why: RFC 1034 section 4.2.2: neither can be resolved, and it must be found out soon.

world usual
zone one.test
  www A 203.0.113.1
zone two.test
  www A 203.0.113.2
server ns.two.test 10.0.1.1 serves one.test
server ns.one.test 10.0.1.2 serves two.test

---
ask www.one.test A
expect SERVFAIL
expect at most 40 queries
expect within 7s
