use netdrop_exporter::{metrics::*, drops::*, devices::*};
fn main(){
  env_logger::Builder::new().filter_level(log::LevelFilter::Debug).init();
  let t=std::time::Instant::now();
  let c=DropCollector::start(Config{procfs:"/proc".into(),sysfs:"/sys".into(),max_entries:4096,max_series:10000,bytes:true,scope:netns::Scope::Own,filter:DeviceFilter::All});
  println!("{:?}",t.elapsed());
  let c=match c {Ok(c)=>c,Err(e)=>{println!("{e:#}");return}};
  let mut e=Exposition::new(); e.add(Box::new(c));
  for _ in 0..5 { std::thread::sleep(std::time::Duration::from_secs(2)); print!("{}",e.scrape()); println!("{}", std::fs::read_to_string("/proc/self/status").unwrap().lines().filter(|l|l.starts_with("VmRSS")).collect::<String>());}
}
