mod audit;
mod behaviour;
mod faults;
mod filesystems;
mod world;
