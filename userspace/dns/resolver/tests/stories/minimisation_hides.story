title: Servers above see no more than they must
why: RFC 9156: the root is not told which host is looked for.

world usual
zone example.test signed
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect NOERROR secure
expect server a.root never sees www.example.test
expect server ns.test never sees www.example.test
