title: An alias that its DNAME record does not give
why: RFC 6672 section 5.3.1: the unsigned CNAME record is checked against the signed DNAME record, or anybody could lead it elsewhere.

world usual
zone example.test signed
  old DNAME new
  www.new A 203.0.113.1
zone evil.test
  www A 6.6.6.6
server ns1.example.test 10.0.1.1 serves example.test
  lies www.old.example.test. CNAME www.evil.test. for www.old.example.test
server ns.evil.test 10.0.1.2 serves evil.test

---
ask www.old.example.test A
expect SERVFAIL bogus
expect nothing of 6.6.6.6
