title: A question whose work of validation is spent
why: that one question cost too much says nothing of the zones it touched: the next one, with less to do, is answered.

world usual
resolver budget signatures 5
zone example.test signed
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect SERVFAIL insecure
expect ede 5
ask mail.example.test A
expect NOERROR secure
time passes 5s
ask www.example.test A
expect NOERROR secure
