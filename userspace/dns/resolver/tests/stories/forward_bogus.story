title: A forwarder that changes an answer
why: RFC 4035 section 5: as from anybody else.

resolver forward . 10.0.2.2
zone . signed
  @ NS a.root.
zone test signed
  @ NS ns.test.
zone example.test signed
  @ NS ns1
  www A 203.0.113.1
  mail A 203.0.113.2
zone plain.test
  @ NS ns1.example.test.
  www A 203.0.113.3
server a.root 10.0.0.1 serves .
server ns.test 10.0.0.2 serves test
server ns1.example.test 10.0.1.1 serves example.test, plain.test
server forwarder1.invalid 10.0.2.1 serves ., test, example.test, plain.test
server forwarder2.invalid 10.0.2.2 serves ., test, example.test, plain.test
  lies www.example.test. A 6.6.6.6 for www.example.test

---
ask www.example.test A
expect SERVFAIL bogus
expect nothing of 6.6.6.6
