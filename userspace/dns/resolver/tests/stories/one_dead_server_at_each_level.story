title: One of two servers is dead at the root, at the top-level domain and at the zone
why: Each step down may meet a dead server; none is to wait a timeout of its own, and keys and addresses are not to add theirs.

zone . signed
zone test signed
zone example.test signed
  www A 203.0.113.1
server a.root 10.0.0.1 serves .
  dead
server b.root 10.0.0.2 serves .
server ns1.test 10.0.0.3 serves test
server ns2.test 10.0.0.4 serves test
  dead
server ns1.example.test 10.0.1.1 serves example.test
  dead
server ns2.example.test 10.0.1.2 serves example.test

---
ask www.example.test A
expect NOERROR secure
expect within 900ms
expect at most 24 queries
