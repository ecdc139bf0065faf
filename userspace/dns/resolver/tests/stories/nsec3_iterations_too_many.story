title: NSEC3 with 501 iterations
why: RFC 9276 section 3.2: above a second limit a resolver may refuse.

world usual
zone example.test nsec3 iterations=501
  www A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect NOERROR secure
ask none.example.test A
expect SERVFAIL
expect ede 27
