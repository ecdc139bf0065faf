title: An alias of a name that does not exist
why: RFC 6604: the code is that of the last name in the chain, and the proof is that of its zone.

world usual
zone one.test signed
  www CNAME none.two.test.
zone two.test nsec3
  web A 203.0.113.2
server ns.one.test 10.0.1.1 serves one.test
server ns.two.test 10.0.1.2 serves two.test

---
ask www.one.test A
expect NXDOMAIN secure
expect answer www.one.test CNAME none.two.test.
expect authority two.test SOA
