title: The only server truncates and refuses TCP
why: There is an end, and it comes soon.

world usual
zone example.test signed
  www A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test
  truncate_always
  tcp_refused

---
ask www.example.test A
expect SERVFAIL
expect within 7s
expect at most 24 queries
