title: A type that nobody knows
why: RFC 3597: given as it is, and validated.

world usual
zone example.test signed
  www TYPE65000 \# 4 c0000201
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test TYPE65000
expect NOERROR secure
