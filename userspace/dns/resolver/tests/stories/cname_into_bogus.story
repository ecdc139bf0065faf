title: An alias into a zone whose signatures are bad
why: RFC 4035 section 4.3: one bogus link makes the answer bogus.

world usual
zone one.test signed
  www CNAME web.two.test.
zone two.test signed
  web A 203.0.113.2
server ns.one.test 10.0.1.1 serves one.test
server ns.two.test 10.0.1.2 serves two.test
  bad_signature for web.two.test

---
ask www.one.test A
expect SERVFAIL bogus
expect ede 6
ask www.one.test CNAME
expect NOERROR secure
