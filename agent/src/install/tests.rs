mod behaviour;
mod faults;
mod world;
