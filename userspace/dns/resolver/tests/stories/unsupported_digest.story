title: A DS record with a digest that nobody knows
why: RFC 4035 section 5.2, RFC 4509: it counts as unsigned.

world usual
zone example.test signed digest=200
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect NOERROR insecure
