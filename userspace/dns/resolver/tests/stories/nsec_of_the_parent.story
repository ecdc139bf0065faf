title: A denial signed by the parent does not deny what the child has
why: RFC 4035 section 5.4 and RFC 6840 section 4.1: NSEC records of a delegation say nothing about names below it.

world usual
zone example.test signed
  www A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test
  nxdomain for www.example.test

---
ask www.example.test A
expect SERVFAIL bogus
