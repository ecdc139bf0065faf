title: A refresh asks the Internet though the answer is known
why: Prefetch of hot names in the last tenth of their time.

world usual
zone example.test signed
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect NOERROR secure
ask www.example.test A refresh
expect NOERROR secure
expect at least 1 queries
expect at most 2 queries
