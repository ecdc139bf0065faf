title: A chain of eight aliases is followed
why: Content networks have chains of this length.

world usual
zone example.test
  link8 A 203.0.113.8
server ns1.example.test 10.0.1.1 serves example.test
  cname_chain 8

---
ask www.example.test A
expect NOERROR insecure
expect answer www.example.test CNAME link1.example.test.
expect answer link8.example.test A 203.0.113.8
expect at most 24 queries
