title: Records that live for no time
why: RFC 1035 section 3.2.1: they are for this answer alone.

world usual
zone example.test
  www 0 A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect NOERROR insecure
expect answer www.example.test A 203.0.113.1
time passes 1s
ask www.example.test A
expect NOERROR insecure
expect exactly 1 query
