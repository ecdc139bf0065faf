title: A zone that is served over IPv6 alone
why: Both families are used.

world usual
zone example.test signed
  www A 203.0.113.1
server ns1.example.test 2001:db8:1::1 serves example.test

---
ask www.example.test A
expect NOERROR secure
