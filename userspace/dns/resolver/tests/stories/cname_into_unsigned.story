title: An alias from a signed zone into an unsigned one
why: RFC 4035 section 4.3: the answer is as secure as its weakest link.

world usual
zone one.test signed
  www CNAME web.two.test.
zone two.test
  web A 203.0.113.2
server ns.one.test 10.0.1.1 serves one.test
server ns.two.test 10.0.1.2 serves two.test

---
ask www.one.test A
expect NOERROR insecure
expect answer web.two.test A 203.0.113.2
