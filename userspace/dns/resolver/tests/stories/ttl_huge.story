title: Records that want to live for 68 years
why: RFC 8767 section 4: a bound (Unbound: cache-max-ttl, a day).

world usual
zone example.test
  www 2147483647 A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect NOERROR insecure
expect ttl at most 604800
