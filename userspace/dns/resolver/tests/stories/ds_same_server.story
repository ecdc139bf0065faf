title: Parent and child on the same server
why: RFC 4035 section 3.1.4.1: DS is answered from the parent, though the server has both.

world usual
zone example.test signed
zone sub.example.test signed
  www A 203.0.113.1
zone plain.example.test
  www A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test, sub.example.test, plain.example.test

---
ask www.sub.example.test A
expect NOERROR secure
ask www.plain.example.test A
expect NOERROR insecure
ask sub.example.test DS
expect NOERROR secure
