//! scratch
#[path = "/tmp/fixture.rs"]
mod fixture;
use fixture::*;
use aya::programs::{TestRun, TestRunOptions};
fn udp4(src:[u8;4],dst:[u8;4],sport:u16,dport:u16,payload:&[u8])->Vec<u8>{
 let mut f=vec![2,0,0,0,0,1,2,0,0,0,0,2,8,0]; let total=28+payload.len() as u16;
 f.extend([0x45,0]); f.extend(total.to_be_bytes()); f.extend([0,0,0,0,64,17,0,0]); f.extend(src); f.extend(dst);
 f.extend(sport.to_be_bytes()); f.extend(dport.to_be_bytes()); f.extend((8+payload.len() as u16).to_be_bytes()); f.extend([0,0]); f.extend(payload); f }
fn dns()->Vec<u8>{ let mut q=vec![0x12,0x34,1,0,0,1,0,0,0,0,0,1]; for l in ["www","example","org"]{q.push(l.len() as u8);q.extend(l.bytes());} q.push(0); q.extend([0,1,0,1]); q.extend([0,0,41,4,0xd0,0,0,0,0,0,0]); q}
fn bench(f:&Fixture,name:&str,frame:&[u8]){ let (_,p)=f.wall.programs().next().unwrap(); let p=p.wall().unwrap();
 let mut best=u128::MAX; let mut rv=0; for _ in 0..7 { let mut o=TestRunOptions::new(); o.data_in=Some(frame); o.repeat=200_000; let r=p.test_run(o).unwrap(); rv=r.return_value; best=best.min(r.duration.as_nanos()); } println!("{name}: {best} ns  action {rv}"); }
#[test]
fn quick(){
 let mut f=Fixture::new(|c|{ for s in &mut c.services { if s.name=="dns"{ s.source=limit(1e7,1e7);} } });
 { let p=f.wall.first_program().unwrap().floor().unwrap(); for _ in 0..3 { let fr=udp4([8,8,8,8],[1,2,3,4],1,2,&[0;20]); let mut o=TestRunOptions::new(); o.data_in=Some(&fr); o.repeat=200_000; let r=p.test_run(o).unwrap(); println!("floor {} ns", r.duration.as_nanos()); } }
 println!("insns {:?}", f.verified());
 bench(&f,"pass untouched",&udp4([8,8,8,8],[1,2,3,4],1000,2000,&[0;20]));
 bench(&f,"allow",&udp4([9,9,9,9],[1,2,3,4],1000,2000,&[0;20]));
 bench(&f,"config block",&udp4([45,1,1,1],[1,2,3,4],1000,2000,&[0;20]));
 bench(&f,"dns outsider",&udp4([8,8,8,8],[192,0,2,53],1000,53,&dns()));
 f.wall.block(muralla_edge::wall::BlockRequest{prefix:"8.8.4.4/32".parse().unwrap(),note:"".into(),ttl:None,services:None}).unwrap();
 bench(&f,"operator block",&udp4([8,8,4,4],[1,2,3,4],1000,2000,&[0;20]));
 let mut g=Fixture::new(|c|{ c.interfaces[0].role=muralla_edge::config::Role::Both; for s in &mut c.services { if s.name=="dns"{ s.source=limit(1e7,1e7); s.global=limit(1e7,1e6); } } });
 bench(&g,"dns clean",&udp4([100,64,1,1],[192,0,2,53],1001,53,&dns()));
 let h=Fixture::new(|c|{ c.interfaces[0].role=muralla_edge::config::Role::Both; for s in &mut c.services { if s.name=="dns"{ s.slip=0; } } });
 bench(&h,"dns limited",&udp4([100,64,1,1],[192,0,2,53],1001,53,&dns()));
 println!("{:?}", g.wall.status().limiter_races);
 let _=&mut g;
}
