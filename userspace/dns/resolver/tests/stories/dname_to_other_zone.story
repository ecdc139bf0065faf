title: A subtree redirected into another zone
why: RFC 6672 section 3.2.

world usual
zone one.test signed
  old DNAME two.test.
zone two.test signed
  www A 203.0.113.2
server ns.one.test 10.0.1.1 serves one.test
server ns.two.test 10.0.1.2 serves two.test

---
ask www.old.one.test A
expect NOERROR secure
expect answer www.two.test A 203.0.113.2
