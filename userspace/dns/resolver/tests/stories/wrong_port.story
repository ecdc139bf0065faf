title: Answers come from another port and never arrive
why: RFC 5452 section 9.1: such a server is dead for us; the other one answers.

world usual
zone example.test signed
  www A 203.0.113.1
  mail A 203.0.113.2
  ftp A 203.0.113.3
  news A 203.0.113.4
server ns1.example.test 10.0.1.1 serves example.test
  wrong_port
server ns2.example.test 10.0.1.2 serves example.test

---
ask www.example.test A
expect NOERROR secure
expect within 2s
