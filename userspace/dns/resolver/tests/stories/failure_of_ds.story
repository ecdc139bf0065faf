title: The registry fails for the question that proves a delegation unsigned
why: Without DS and without proof nothing is known; the answer is SERVFAIL, soon, and not "insecure".

zone . signed
zone test signed
zone example.test
  www A 203.0.113.1
server a.root 10.0.0.1 serves .
server ns.test 10.0.0.2 serves test
  stripped_denial
  servfail type DS
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect SERVFAIL
expect within 7s
expect at most 40 queries
ask www.example.test A cd
expect NOERROR
