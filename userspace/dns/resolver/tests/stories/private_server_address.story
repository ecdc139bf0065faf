title: A delegation to an address that is not public
why: DNS rebinding and scans of the inside: 10.0.0.0/8 is not asked because of a delegation.

resolver servers public
zone . signed
zone test signed
zone example.test
  www A 203.0.113.1
server a.root 9.0.0.1 serves .
server ns.test 9.0.0.2 serves test
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect SERVFAIL
expect server ns1.example.test not asked
