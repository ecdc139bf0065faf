title: Parent and child name different servers
why: RFC 1034 section 4.2.2: both work, and the answer is the same.

zone . signed
zone test signed
  example NS ns1.example
  ns1.example A 10.0.1.1
zone example.test signed
  @ NS ns2
  www A 203.0.113.1
server a.root 10.0.0.1 serves .
server ns.test 10.0.0.2 serves test
server ns1.example.test 10.0.1.1 serves example.test
server ns2.example.test 10.0.1.2 serves example.test

---
ask www.example.test A
expect NOERROR secure
ask example.test NS
expect NOERROR secure
expect answer example.test NS ns2.example.test.
