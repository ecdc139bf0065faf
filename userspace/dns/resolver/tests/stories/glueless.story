title: A zone whose servers are named in another zone
why: RFC 1034 section 5.3.3: the address of the server is a question of its own.

world usual
zone example.test signed
  www A 203.0.113.1
zone hosting.test signed
server ns1.hosting.test 10.0.1.1 serves example.test
server ns2.hosting.test 10.0.1.2 serves hosting.test

---
ask www.example.test A
expect NOERROR secure
expect at most 24 queries
