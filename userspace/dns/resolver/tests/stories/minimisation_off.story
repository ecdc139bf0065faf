title: Without minimisation each server is shown the whole name
why: For comparison, and for servers that need it.

resolver minimisation off
world usual
zone example.test signed
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect NOERROR secure
expect server a.root sees www.example.test A
