title: NSEC3 with 50 iterations
why: RFC 9276 section 3.2: some iterations are still met, and checked.

world usual
zone example.test nsec3 iterations=50
  www A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect NOERROR secure
ask none.example.test A
expect NXDOMAIN secure
expect no ede
