title: The operator vouches for a zone with expired signatures
why: RFC 7646: a broken zone that customers need, for as long as the operator says.

resolver negative-anchor example.test
world usual
zone example.test signed
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test
  expired

---
ask www.example.test A
expect NOERROR insecure
expect answer www.example.test A 203.0.113.1
ask none.example.test A
expect NXDOMAIN insecure
ask none.test A
expect NXDOMAIN secure
