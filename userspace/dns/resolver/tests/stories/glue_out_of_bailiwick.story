title: A referral carries an address for a host of another zone
why: RFC 5452 section 6: glue is taken for names below the referring zone alone, and never as an answer.

world usual
zone net signed
zone host.net signed
zone evil.test
  sub NS www.host.net.
server ns.net 10.0.0.3 serves net
server www.host.net 10.0.1.2 serves host.net
server ns.evil.test 10.0.1.1 serves evil.test
  poison additional www.host.net. A 6.6.6.6 under sub.evil.test

---
ask www.sub.evil.test A
ask www.host.net A
expect NOERROR secure
expect answer www.host.net A 10.0.1.2
