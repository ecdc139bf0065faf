title: One of two servers answers with nothing at all
why: NOERROR without SOA, NS or answer is no NODATA (RFC 2308 section 2.2 type 3 is for authorities): in a signed zone it proves nothing.

world usual
zone example.test signed
  www A 203.0.113.1
  mail A 203.0.113.2
  ftp A 203.0.113.3
  news A 203.0.113.4
server ns1.example.test 10.0.1.1 serves example.test
  empty
server ns2.example.test 10.0.1.2 serves example.test

---
ask www.example.test A
expect NOERROR secure
expect answer www.example.test A 203.0.113.1
ask mail.example.test A
expect NOERROR secure
ask ftp.example.test A
expect NOERROR secure
ask news.example.test A
expect NOERROR secure
expect answer news.example.test A 203.0.113.4
expect at most 6 queries
