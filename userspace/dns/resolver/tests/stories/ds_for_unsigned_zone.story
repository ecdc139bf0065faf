title: The parent has a DS record for a zone that is not signed
why: RFC 4035 section 5.2: the same, after signing was switched off.

zone . signed
zone test signed
  example DS 12345 15 2 e06d44b80b8f1d39a95c0b0d7c65d08458e880409bbc683457104237c7f8ec8d
server a.root 10.0.0.1 serves .
server ns.test 10.0.0.2 serves test
zone example.test
  www A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect SERVFAIL bogus
expect ede 9
