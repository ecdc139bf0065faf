title: What a forwarder gives is validated
why: RFC 4035: a forwarder is not trusted more than the network.

resolver forward . 10.0.2.1
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
  bad_signature for www.example.test

---
ask mail.example.test A
expect NOERROR secure
expect server a.root not asked
ask www.plain.test A
expect NOERROR insecure
ask none.example.test A
expect NXDOMAIN secure
