title: A zone signed with an algorithm that nobody knows
why: RFC 4035 section 5.2: it counts as unsigned. New algorithms must not break old resolvers.

world usual
zone example.test signed algorithm=200
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect NOERROR insecure
ask none.example.test A
expect NXDOMAIN insecure
