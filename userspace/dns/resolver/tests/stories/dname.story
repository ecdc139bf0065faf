title: A redirected subtree, signed
why: RFC 6672 section 5.3.1: the DNAME record is signed, the CNAME record made from it is not.

world usual
zone example.test signed
  old DNAME new
  www.new A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.old.example.test A
expect NOERROR secure
expect answer www.old.example.test CNAME www.new.example.test.
expect answer www.new.example.test A 203.0.113.1
ask none.old.example.test A
expect NXDOMAIN secure
