title: An alias from one signed zone into another
why: RFC 4035 section 3.1: each link is proven by its own zone.

world usual
zone one.test signed
  www CNAME web.two.test.
zone two.test nsec3
  web A 203.0.113.2
server ns.one.test 10.0.1.1 serves one.test
server ns.two.test 10.0.1.2 serves two.test

---
ask www.one.test A
expect NOERROR secure
expect answer www.one.test CNAME web.two.test.
expect answer web.two.test A 203.0.113.2
ask www.one.test AAAA
expect NOERROR secure
expect authority two.test SOA
