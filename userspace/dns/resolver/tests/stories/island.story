title: A signed zone that its parent does not vouch for
why: RFC 4035 section 4.3: without a chain from an anchor it is insecure, and works.

world usual
zone example.test signed ds=none
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect NOERROR insecure
ask none.example.test A
expect NXDOMAIN insecure
