title: Unsigned and signed zones below a registry with opt-out
why: RFC 5155 section 6: how large registries are signed.

zone . signed
zone test nsec3 opt-out
zone plain.test
  www A 203.0.113.1
zone example.test signed
  www A 203.0.113.2
server a.root 10.0.0.1 serves .
server ns.test 10.0.0.2 serves test
server ns.plain.test 10.0.1.1 serves plain.test
server ns.example.test 10.0.1.2 serves example.test

---
ask www.plain.test A
expect NOERROR insecure
ask www.example.test A
expect NOERROR secure
ask plain.test DS
expect NOERROR insecure
expect no answer
