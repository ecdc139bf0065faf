title: The parent's signatures are stripped
why: RFC 4035 section 5.2: a referral from a signed zone without DS and without proof is bogus, not unsigned.

zone . signed
zone test signed
zone example.test
  www A 203.0.113.1
server a.root 10.0.0.1 serves .
server ns.test 10.0.0.2 serves test
  stripped_denial
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect SERVFAIL bogus
