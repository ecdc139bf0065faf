title: The servers of a zone change places in a minute
why: A resolver that holds the dead one for dead while nobody else answers fails without need: when all is lost, all are asked.

world usual
zone example.test signed
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test
server ns2.example.test 10.0.1.2 serves example.test

---
server ns1.example.test dies
ask www.example.test A
expect NOERROR secure
server ns1.example.test recovers
server ns2.example.test dies
ask mail.example.test A
expect NOERROR secure
expect within 4s
