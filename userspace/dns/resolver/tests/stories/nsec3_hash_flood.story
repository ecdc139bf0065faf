title: A name with fifty labels below a zone with 150 iterations
why: CVE-2023-50868: the search for the closest encloser hashes each label; work is bounded, and there is an answer.

world usual
zone example.test nsec3 iterations=150 salt=0123456789abcdef0123456789abcdef
  www A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test

---
ask a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u.v.w.x.y.z.a0.a1.a2.a3.a4.a5.a6.a7.a8.a9.a10.a11.a12.a13.a14.a15.a16.a17.a18.a19.example.test A
expect within 7s
expect at most 40 queries
expect no answer
ask www.example.test A
expect NOERROR secure
