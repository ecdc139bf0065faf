title: An unsigned zone below a signed one is proven to be unsigned
why: RFC 4035 section 5.2: the parent proves that there is no DS record; without the proof anybody could strip signatures.

world usual
zone example.test
  www A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect NOERROR insecure
expect answer www.example.test A 203.0.113.1
ask none.example.test A
expect NXDOMAIN insecure
