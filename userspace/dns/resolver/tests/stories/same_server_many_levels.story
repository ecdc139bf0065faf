title: Parent, child and grandchild on one server
why: No referral is seen; zone cuts are found by signatures and DS questions.

world usual
zone example.test signed
zone sub.example.test
zone deep.sub.example.test signed
  www A 203.0.113.1
zone other.example.test nsec3
  www A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test, sub.example.test, deep.sub.example.test, other.example.test

---
ask www.deep.sub.example.test A
expect NOERROR insecure
ask www.other.example.test A
expect NOERROR secure
ask none.other.example.test A
expect NXDOMAIN secure
